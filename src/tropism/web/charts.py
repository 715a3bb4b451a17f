"""Our own small charts: inline SVG, drawn in Python, coloured by the page's style sheet.

Every chart is a frozen value with a title and a description, and draws itself into any `Frame`; `figure`
draws it twice, wide for a desk and narrow for a phone, so that text keeps its size.
"""

from tropism.web.bars import Bucket, Histogram, Parts
from tropism.web.calibration import CalibrationPlot, CalibrationPoint
from tropism.web.heat import HeatMap, HeatRow, shade_legend
from tropism.web.layout import Band, Chart, Frame, Marker, Tone
from tropism.web.lines import LineChart, Series
from tropism.web.multiples import figure, key, line_legend, small_multiples
from tropism.web.spans import STAGES, Span, Stage, Timeline, stage_legend

__all__ = [
    "STAGES",
    "Band",
    "Bucket",
    "CalibrationPlot",
    "CalibrationPoint",
    "Chart",
    "Frame",
    "HeatMap",
    "HeatRow",
    "Histogram",
    "LineChart",
    "Marker",
    "Parts",
    "Series",
    "Span",
    "Stage",
    "Timeline",
    "Tone",
    "figure",
    "key",
    "line_legend",
    "shade_legend",
    "small_multiples",
    "stage_legend",
]
