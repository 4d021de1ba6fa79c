// digits.tflite on iOS, from ../digits_on_a_phone.py. Needs TensorFlowLiteSwift. n is any number of
// rows; the file takes pixels from 0 to 1 as the training did, and normalises them itself.
// labels.txt in the file (a zip archive) names the classes in the order of the output.
//
// serve input rows: float32 [n, 8, 8]
// serve output output: float32 [n, 10]
// embed input rows: float32 [n, 8, 8]
// embed output embedding: float32 [n, 32]
// head input scale: float32 [1]
// head output kernel: float32 [10, 32]
// head output bias: float32 [10]
// train_head input embedding: float32 [n, 32]
// train_head input labels: int32 [n]
// train_head input kernel: float32 [10, 32]
// train_head input bias: float32 [10]
// train_head input learning_rate: float32 [1]
// train_head output kernel: float32 [10, 32]
// train_head output bias: float32 [10]
// train_head output loss: float32 [1]
// infer input rows: float32 [n, 8, 8]
// infer input kernel: float32 [10, 32]
// infer input bias: float32 [10]
// infer output output: float32 [n, 10]

import Foundation
import TensorFlowLite

let SIDE = 8
let FEATURES = 32
let CLASSES = 10

final class Digits {
    private let interpreter: Interpreter

    // The application keeps and stores these two; new weights are what training returns.
    var kernel = Data()  // CLASSES * FEATURES float32
    var bias = Data()  // CLASSES float32

    init(path: String) throws {
        interpreter = try Interpreter(modelPath: path)
        // The weights as shipped; a scale of 0 gives zeros instead.
        let shipped = try run("head", ["scale": (data([Float(1)]), [1])], ["kernel", "bias"])
        (kernel, bias) = (shipped[0], shipped[1])
    }

    /// `images` holds count * SIDE * SIDE numbers; the answer count * CLASSES probabilities.
    func classify(_ images: [Float], count: Int) throws -> [Float] {
        let inputs = ["rows": (data(images), [count, SIDE, SIDE])].merging(head()) { a, _ in a }
        return floats(try run("infer", inputs, ["output"])[0])
    }

    func embed(_ images: [Float], count: Int) throws -> [Float] {
        floats(try run("embed", ["rows": (data(images), [count, SIDE, SIDE])], ["embedding"])[0])
    }

    /// One step of gradient descent; call it for many batches, on embeddings computed once.
    func train(_ embedding: [Float], labels: [Int32], learningRate: Float = 0.1) throws -> Float {
        var inputs = head()
        inputs["embedding"] = (data(embedding), [labels.count, FEATURES])
        inputs["labels"] = (data(labels), [labels.count])
        inputs["learning_rate"] = (data([learningRate]), [1])
        let outputs = try run("train_head", inputs, ["kernel", "bias", "loss"])
        (kernel, bias) = (outputs[0], outputs[1])
        return floats(outputs[2])[0]
    }

    private func head() -> [String: (Data, [Int])] {
        ["kernel": (kernel, [CLASSES, FEATURES]), "bias": (bias, [CLASSES])]
    }

    private func run(
        _ signature: String, _ inputs: [String: (Data, [Int])], _ outputs: [String]
    ) throws -> [Data] {
        let runner = try interpreter.signatureRunner(with: signature)
        for (name, (_, shape)) in inputs {
            try runner.resizeInput(named: name, toShape: Tensor.Shape(shape))
        }
        try runner.allocateTensors()
        for (name, (values, _)) in inputs { try runner.copy(values, toInputNamed: name) }
        try runner.invoke()
        return try outputs.map { try runner.output(named: $0).data }
    }
}

private func data<T>(_ values: [T]) -> Data { values.withUnsafeBytes { Data($0) } }

private func floats(_ data: Data) -> [Float] {
    data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
}
