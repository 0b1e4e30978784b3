"""The gateway: OpenAI's Videos API in front of the jobs, with keys, limits and a trace for every submission."""

from rushes.studio.gateway.app import create_app
from rushes.studio.gateway.errors import ApiError
from rushes.studio.gateway.protocols import VideoMedia

__all__ = ["ApiError", "VideoMedia", "create_app"]
