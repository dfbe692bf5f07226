"""The service: delivers sealed entries. It knows no member and reads no content."""
