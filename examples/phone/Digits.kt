// digits.tflite on Android, from ../digits_on_a_phone.py. In the app's dependencies: a release of
// com.google.ai.edge.litert:litert. n is any number of rows; the file takes pixels from 0 to 1 as
// the training did, and normalises them itself. labels.txt in the file (a zip archive) names the
// classes in the order of the output.
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

import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

const val SIDE = 8
const val FEATURES = 32
const val CLASSES = 10

class Digits(file: ByteBuffer) {  // memory-mapped from assets
    private val interpreter = Interpreter(file)

    // The application keeps and stores these two; new weights are what training returns.
    var kernel = Array(CLASSES) { FloatArray(FEATURES) }
    var bias = FloatArray(CLASSES)

    init {  // the weights as shipped; a scale of 0 gives zeros instead
        val shipped = mapOf<String, Any>("kernel" to kernel, "bias" to bias)
        interpreter.runSignature(mapOf<String, Any>("scale" to floatArrayOf(1f)), shipped, "head")
    }

    fun classify(images: Array<Array<FloatArray>>): Array<FloatArray> {  // n x SIDE x SIDE
        val output = Array(images.size) { FloatArray(CLASSES) }
        val inputs = mapOf<String, Any>("rows" to images, "kernel" to kernel, "bias" to bias)
        interpreter.runSignature(inputs, mapOf<String, Any>("output" to output), "infer")
        return output
    }

    fun embed(images: Array<Array<FloatArray>>): Array<FloatArray> {
        val embedding = Array(images.size) { FloatArray(FEATURES) }
        val outputs = mapOf<String, Any>("embedding" to embedding)
        interpreter.runSignature(mapOf<String, Any>("rows" to images), outputs, "embed")
        return embedding
    }

    // One step of gradient descent; call it for many batches, on embeddings computed once.
    fun train(embedding: Array<FloatArray>, labels: IntArray, learningRate: Float = 0.1f): Float {
        val newKernel = Array(CLASSES) { FloatArray(FEATURES) }
        val newBias = FloatArray(CLASSES)
        val loss = FloatArray(1)
        val inputs = mapOf<String, Any>(
            "embedding" to embedding, "labels" to labels, "kernel" to kernel, "bias" to bias,
            "learning_rate" to floatArrayOf(learningRate),
        )
        val outputs = mapOf<String, Any>("kernel" to newKernel, "bias" to newBias, "loss" to loss)
        interpreter.runSignature(inputs, outputs, "train_head")
        kernel = newKernel
        bias = newBias
        return loss[0]
    }
}
