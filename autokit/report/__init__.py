"""What a run leaves behind: its output folder, its JSON report, its tables."""

from __future__ import annotations

from autokit.report.output import environment, output_folder, write_json
from autokit.report.rows import ModelRow, measure, print_rows

__all__ = ["ModelRow", "environment", "measure", "output_folder", "print_rows", "write_json"]
