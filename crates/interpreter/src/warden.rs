//! Ends what an interpreter has started if the front is killed outright.
//!
//! `PR_SET_PDEATHSIG` (prctl(2)) reaches the interpreter alone. What its cells have started in its process group would go on, whereas
//! with a kernel of one process all end together: managers kill the group (`killpg`, jupyter_client's `LocalProvisioner.kill`). So a
//! small process in a session of its own waits for the end of a pipe, which comes with the end of the front, however that ends.

use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::unistd::Pid;

/// Groups that are known at once: one, or two while a fresh interpreter takes the place of another.
const GROUPS: usize = 8;
/// More descriptors nobody has handed to us when the process is young.
const DESCRIPTORS: i32 = 1024;
/// What the front says when it ends in order.
const END: i32 = 0;

static WARDEN: OnceLock<Warden> = OnceLock::new();

struct Warden {
    pid: Pid,
    pipe: std::fs::File,
}

/// Starts the warden, once. Must be called while this process has one thread: it is forked and goes on in this code.
///
/// # Errors
/// The system has no more processes or descriptors. The kernel can do without.
pub fn start() -> io::Result<()> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: the one thread of this process goes on in both. The child makes system calls only, and never returns.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => watch_over(&read),
        pid => Pid::from_raw(pid),
    };
    let warden = Warden {
        pid,
        pipe: std::fs::File::from(write),
    };
    WARDEN
        .set(warden)
        .map_err(|_| io::Error::other("there is a warden already"))
}

/// Its id, if there is one: a child of this process that is no interpreter's.
pub fn pid() -> Option<u32> {
    WARDEN.get().map(|warden| warden.pid.as_raw() as u32)
}

/// The end of the warden, which leaves no zombie to whoever inherits our children.
pub fn dismiss() {
    if let Some(warden) = WARDEN.get() {
        say(END);
        if let Err(error) = nix::sys::wait::waitpid(warden.pid, None) {
            tracing::debug!(%error, "the warden is gone");
        }
    }
}

/// From now on the group of this interpreter ends with the front.
pub(crate) fn note(interpreter: Pid) {
    say(interpreter.as_raw());
}

/// The interpreter has ended, and the front sees to what it left; the number of its group may come to be another's.
pub(crate) fn forget(interpreter: Pid) {
    say(-interpreter.as_raw());
}

fn say(number: i32) {
    if let Some(warden) = WARDEN.get()
        && let Err(error) = (&warden.pipe).write_all(&number.to_ne_bytes())
    {
        tracing::debug!(%error, "the warden is gone");
    }
}

/// The life of the warden: groups come and go, and all that are left are killed when the pipe ends.
fn watch_over(pipe: &OwnedFd) -> ! {
    let mut groups = [0; GROUPS];
    let mut number = [0; size_of::<i32>()];
    // SAFETY: system calls on descriptors and memory of this process. It keeps none of the front's: who waits for their ends would
    // wait for us.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"warden".as_ptr());
        libc::setsid();
        libc::dup2(pipe.as_raw_fd(), 0);
        for fd in 1..DESCRIPTORS {
            libc::close(fd);
        }
        loop {
            match libc::read(0, number.as_mut_ptr().cast(), number.len()) {
                4 if i32::from_ne_bytes(number) != END => {
                    mark(&mut groups, i32::from_ne_bytes(number))
                }
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => break,
            }
        }
        for group in groups.into_iter().filter(|group| *group > 1) {
            libc::kill(-group, libc::SIGKILL);
        }
        libc::_exit(0)
    }
}

fn mark(groups: &mut [i32; GROUPS], number: i32) {
    let (old, new) = if number > 0 {
        (0, number)
    } else {
        (-number, 0)
    };
    if let Some(group) = groups.iter_mut().find(|group| **group == old) {
        *group = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_and_go_and_more_than_there_is_room_for_are_left_out() {
        let mut groups = [0; GROUPS];
        for number in [10, 20, -10, 30, -99] {
            mark(&mut groups, number);
        }
        assert_eq!(groups[..3], [30, 20, 0]);
        for number in 40..60 {
            mark(&mut groups, number);
        }
        assert_eq!(groups[7], 45);
    }
}
