"""The doors: one module per Lambda, grouped by domain; `functions.catalogue` lists them all."""
