"""Where on earth something is."""

from typing import Annotated

from pydantic import Field

# In degrees, WGS 84. Binary fractions are exact enough for a place.
Latitude = Annotated[float, Field(ge=-90, le=90, examples=[45.76])]
Longitude = Annotated[float, Field(ge=-180, le=180, examples=[4.83])]
