"""Tracebacks as the person is shown them: without frames of the kernel's own."""


def cut_our_frames(trace):
    """Takes our frames out of a traceback, but for those that it begins with: an interrupt may come after a frame of the channel, and an
    error is IPython's where a method of ours has called it.
    """
    last = None
    while trace is not None:
        following = trace.tb_next
        if not trace.tb_frame.f_code.co_filename.startswith("<rust-hygiene>"):
            if last is not None and last.tb_next is not trace:
                last.tb_next = trace  # Python goes through all that follows, to see that it is no circle
            last = trace
        trace = following
    if last is not None:
        last.tb_next = None


def without_our_frames(trace):
    """The traceback without frames of ours, also without those that it begins with."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("<rust-hygiene>"):
        trace = trace.tb_next
    cut_our_frames(trace)
    return trace
