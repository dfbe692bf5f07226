"""What `make bench-service` is made of: load, cells of the matrix, floors and peers."""
