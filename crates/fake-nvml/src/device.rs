//! Calls about one device, without its processes.

use std::ffi::{c_char, c_uint};

use crate::{
    abi::{
        Code, Handle, INVALID_ARGUMENT, Memory, MemoryV2, NOT_AVAILABLE, NOT_SUPPORTED, SUCCESS,
        Utilization, VERSION_MISMATCH, put, put_text,
    },
    state::with_device,
};

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetIndex(device: Handle, index: *mut c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put` asks.
    with_device(device, |_, found| unsafe { put(found as c_uint, index) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(device: Handle, text: *mut c_char, room: c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put_text` asks.
    with_device(device, |found, _| unsafe {
        put_text(&found.name, text, room)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(device: Handle, text: *mut c_char, room: c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put_text` asks.
    with_device(device, |found, _| unsafe {
        put_text(&found.uuid, text, room)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo(device: Handle, memory: *mut Memory) -> Code {
    with_device(device, |found, _| {
        if found.memory_error != SUCCESS {
            return found.memory_error;
        }
        // The first version has no field for what the driver keeps for itself and counts it as used.
        let used = found.used.map(|used| used.saturating_add(found.reserved));
        let answer = Memory {
            total: found.total,
            free: found.total.saturating_sub(used.unwrap_or(0)),
            used: used.unwrap_or(NOT_AVAILABLE),
        };
        // SAFETY: nvml.h asks of the caller what `put` asks.
        unsafe { put(answer, memory) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, memory: *mut MemoryV2) -> Code {
    with_device(device, |found, _| {
        if memory.is_null() {
            return INVALID_ARGUMENT;
        }
        // SAFETY: it is not null, and nvml.h asks the caller to set the version.
        if unsafe { (*memory).version } != MemoryV2::VERSION {
            return VERSION_MISMATCH;
        }
        if found.memory_error != SUCCESS {
            return found.memory_error;
        }
        let answer = MemoryV2 {
            version: MemoryV2::VERSION,
            total: found.total,
            reserved: found.reserved,
            free: found
                .total
                .saturating_sub(found.used.unwrap_or(0))
                .saturating_sub(found.reserved),
            used: found.used.unwrap_or(NOT_AVAILABLE),
        };
        // SAFETY: nvml.h asks of the caller what `put` asks.
        unsafe { put(answer, memory) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUtilizationRates(
    device: Handle,
    rates: *mut Utilization,
) -> Code {
    // SAFETY: nvml.h asks of the caller what `put` asks.
    with_device(device, |_, _| unsafe {
        put(Utilization { gpu: 0, memory: 0 }, rates)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: Handle,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Code {
    with_device(device, |found, _| {
        let mode = c_uint::from(found.mig);
        // SAFETY: nvml.h asks of the caller what `put` asks, twice.
        match unsafe { put(mode, current) } {
            // SAFETY: as above.
            SUCCESS => unsafe { put(mode, pending) },
            error => error,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, count: *mut c_uint) -> Code {
    // SAFETY: nvml.h asks of the caller what `put` asks.
    with_device(device, |found, _| unsafe {
        put(if found.mig { 7 } else { 0 }, count)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: Handle,
    _index: c_uint,
    _handle: *mut Handle,
) -> Code {
    with_device(device, |_, _| NOT_SUPPORTED)
}
