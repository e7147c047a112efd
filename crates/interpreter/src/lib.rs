//! Starts, feeds, interrupts and buries the child Python interpreter.
