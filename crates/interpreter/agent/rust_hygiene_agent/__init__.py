"""The Python side of Rust-Hygiene Python: runs the cells and tells the front what came of them."""
