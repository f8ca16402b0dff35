"""What a Jetson says of itself: module, release, power mode, clocks, power, temperatures.

Never run on hardware: no Jetson was at hand. Files and lines are those that others published; the
tests read copies of them from a simulated board.
"""
