//! What the file says.

use std::{
    env, fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Deserialize;

use crate::abi::{Code, GPU_IS_LOST, Handle, INVALID_ARGUMENT, UNINITIALIZED, UNKNOWN};

/// The whole machine.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct State {
    /// The driver's version.
    pub(crate) driver: String,
    /// The code that initialising gives.
    pub(crate) init_error: Code,
    pub(crate) devices: Vec<Device>,
}

/// One GPU. Sizes are bytes.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) total: u64,
    pub(crate) reserved: u64,
    /// `None` is "not available".
    pub(crate) used: Option<u64>,
    /// Whether it is split into instances.
    pub(crate) mig: bool,
    /// Whether it has fallen off the bus.
    pub(crate) lost: bool,
    /// The code that memory queries give.
    pub(crate) memory_error: Code,
    /// The code that process lists give.
    pub(crate) process_error: Code,
    pub(crate) compute: Vec<Process>,
    pub(crate) graphics: Vec<Process>,
    pub(crate) mps: Vec<Process>,
}

/// A process on a device.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Bytes; `None` is "not available".
    pub(crate) used: Option<u64>,
    pub(crate) gpu_instance: Option<u32>,
    pub(crate) compute_instance: Option<u32>,
}

/// How often the library was initialised and not shut down again.
static USERS: AtomicUsize = AtomicUsize::new(0);

/// Notes one more user.
pub(crate) fn add_user() {
    USERS.fetch_add(1, Ordering::SeqCst);
}

/// Notes one user less; `false` where there was none.
pub(crate) fn remove_user() -> bool {
    USERS
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |users| {
            users.checked_sub(1)
        })
        .is_ok()
}

/// Reads the file; `None` where there is none or it is not valid.
pub(crate) fn load() -> Option<State> {
    let text = fs::read(env::var_os("FAKE_NVML_STATE")?).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Answers a call from the state.
pub(crate) fn with_state(answer: impl FnOnce(&State) -> Code) -> Code {
    if USERS.load(Ordering::SeqCst) == 0 {
        return UNINITIALIZED;
    }
    load().map_or(UNKNOWN, |state| answer(&state))
}

/// Answers a call on a device; a lost one answers nothing.
pub(crate) fn with_device(handle: Handle, answer: impl FnOnce(&Device, usize) -> Code) -> Code {
    with_state(|state| {
        let index = index_of(handle);
        match index.and_then(|index| Some((state.devices.get(index)?, index))) {
            Some((device, _)) if device.lost => GPU_IS_LOST,
            Some((device, index)) => answer(device, index),
            None => INVALID_ARGUMENT,
        }
    })
}

/// The handle of a device. It is only ever given back, so it need not point anywhere; 0 would be a null pointer.
pub(crate) fn handle_of(index: usize) -> Handle {
    std::ptr::without_provenance_mut(index + 1)
}

fn index_of(handle: Handle) -> Option<usize> {
    handle.addr().checked_sub(1)
}
