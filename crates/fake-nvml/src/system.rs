//! Calls that are about no single device.

use std::ffi::{CStr, c_char, c_int, c_uint};

use crate::{
    abi::{
        Code, DRIVER_NOT_LOADED, Handle, INVALID_ARGUMENT, NOT_FOUND, SUCCESS, UNINITIALIZED, put,
        put_text,
    },
    state::{add_user, handle_of, load, remove_user, with_state},
};

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Code {
    match load() {
        None => DRIVER_NOT_LOADED,
        Some(state) if state.init_error != SUCCESS => state.init_error,
        Some(_) => {
            add_user();
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> Code {
    nvmlInit_v2()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Code {
    if remove_user() {
        SUCCESS
    } else {
        UNINITIALIZED
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(_code: Code) -> *const c_char {
    c"an error of the fake library".as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(text: *mut c_char, room: c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put_text` asks.
    with_state(|state| unsafe { put_text(&state.driver, text, room) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(text: *mut c_char, room: c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put_text` asks.
    unsafe { put_text("12.550.54", text, room) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> Code {
    // SAFETY: nvml.h asks of the caller what `put` asks.
    unsafe { put(12040, version) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put` asks.
    with_state(|state| unsafe { put(state.devices.len() as c_uint, count) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, handle: *mut Handle) -> Code {
    with_state(|state| {
        if index as usize >= state.devices.len() {
            return INVALID_ARGUMENT;
        }
        // SAFETY: nvml.h asks of the caller what `put` asks.
        unsafe { put(handle_of(index as usize), handle) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, handle: *mut Handle) -> Code {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: it is not null, and nvml.h asks for a text that ends with a zero byte.
    let uuid = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
    with_state(
        |state| match state.devices.iter().position(|device| device.uuid == uuid) {
            // SAFETY: nvml.h asks of the caller what `put` asks.
            Some(index) => unsafe { put(handle_of(index), handle) },
            None => NOT_FOUND,
        },
    )
}
