//! Test only: a libnvidia-ml.so.1 whose state is a file.
