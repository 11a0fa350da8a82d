"""HTTP glue: endpoints on FastAPI and Mangum, authentication, problems, paging. The domain below knows none of it."""
