//! What both services are made of: configuration, HTTP shell, pipeline and queries.
