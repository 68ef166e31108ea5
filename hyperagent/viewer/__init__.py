"""A design, and what a team did with it, as a picture, a page or terminal output."""

from hyperagent.viewer.console import terminal
from hyperagent.viewer.page import html
from hyperagent.viewer.picture import svg

__all__ = ["html", "svg", "terminal"]
