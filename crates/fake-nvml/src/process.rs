//! The three lists of processes on a device.

use std::ffi::c_uint;

use crate::{
    abi::{
        Code, Handle, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NO_INSTANCE, NOT_AVAILABLE, ProcessInfo,
        SUCCESS,
    },
    state::{Device, Process, with_device},
};

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    list: *mut ProcessInfo,
) -> Code {
    // SAFETY: nvml.h asks of the caller what `answer` asks.
    unsafe { answer(device, count, list, |device| &device.compute) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    list: *mut ProcessInfo,
) -> Code {
    // SAFETY: nvml.h asks of the caller what `answer` asks.
    unsafe { answer(device, count, list, |device| &device.graphics) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
    device: Handle,
    count: *mut c_uint,
    list: *mut ProcessInfo,
) -> Code {
    // SAFETY: nvml.h asks of the caller what `answer` asks.
    unsafe { answer(device, count, list, |device| &device.mps) }
}

/// Writes a list, or tells how long it is where the room does not suffice.
///
/// # Safety
/// `count` is null or points to a number, and `list` is null or points to room for that many processes.
unsafe fn answer(
    device: Handle,
    count: *mut c_uint,
    list: *mut ProcessInfo,
    pick: impl FnOnce(&Device) -> &[Process],
) -> Code {
    with_device(device, |device, _| {
        if device.process_error != SUCCESS {
            return device.process_error;
        }
        if count.is_null() {
            return INVALID_ARGUMENT;
        }
        let processes = pick(device);
        // SAFETY: it is not null, and the caller vouches for it.
        let room = unsafe { count.replace(processes.len() as c_uint) } as usize;
        if processes.is_empty() {
            return SUCCESS;
        }
        if list.is_null() || room < processes.len() {
            return INSUFFICIENT_SIZE;
        }
        for (i, process) in processes.iter().enumerate() {
            let info = ProcessInfo {
                pid: process.pid,
                used: process.used.unwrap_or(NOT_AVAILABLE),
                gpu_instance: process.gpu_instance.unwrap_or(NO_INSTANCE),
                compute_instance: process.compute_instance.unwrap_or(NO_INSTANCE),
            };
            // SAFETY: the list is not null and the caller vouches for `room` places, of which there are enough.
            unsafe { list.add(i).write(info) };
        }
        SUCCESS
    })
}
