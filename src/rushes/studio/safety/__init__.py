"""What keeps prompts and pictures that must not be made from being made."""

from rushes.studio.safety.blocklist import Blocklist, BlocklistVerdict
from rushes.studio.safety.lists import TermsError

__all__ = ["Blocklist", "BlocklistVerdict", "TermsError"]
