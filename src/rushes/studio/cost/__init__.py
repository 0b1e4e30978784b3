"""What a video costs: the device time of every attempt at it, its price, and how much of it came to nothing."""

from rushes.studio.cost.attempt import Attempt, Bill, Cause, Outcome, Role
from rushes.studio.cost.book import Book
from rushes.studio.cost.counting import count, figures
from rushes.studio.cost.device import CPU, Device, describe
from rushes.studio.cost.meter import Meter

__all__ = [
    "CPU",
    "Attempt",
    "Bill",
    "Book",
    "Cause",
    "Device",
    "Meter",
    "Outcome",
    "Role",
    "count",
    "describe",
    "figures",
]
