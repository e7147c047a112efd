//! One handler a request, the execution queue, ordering, busy and idle.
