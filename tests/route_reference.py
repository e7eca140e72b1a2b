"""What several folders of tests compare routes with."""

# Order: mean output, routes, spread; 2000 draws of the specification's author, rounded as given there.
TABLE = {
    "MP8": (0.985, 1, 0.00),
    "AP8": (0.501, 64, 3.24),
    "MP2-AP4": (0.799, 16, 3.23),
    "AP4-MP2": (0.575, 16, 1.58),
    "MP4-AP2": (0.941, 4, 3.10),
    "AP2-MP4": (0.754, 4, 0.71),
    "MP2-AP2-MP2": (0.878, 4, 1.52),
}
