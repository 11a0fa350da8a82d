"""Values every room shares; standard library and pydantic only, no input or output."""
