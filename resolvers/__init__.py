"""What a viewer may ask and do. It batches; it speaks neither SQL nor GraphQL."""
