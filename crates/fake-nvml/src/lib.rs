//! Test only: a `libnvidia-ml.so.1` whose devices are what a JSON file says.
//!
//! The file is named by the environment variable `FAKE_NVML_STATE` and read anew at every call, so a test changes what
//! the "driver" tells by writing the file. [`state::State`] is its content; everything may be left out:
//!
//! ```json
//! {
//!   "driver": "550.54.15",
//!   "devices": [
//!     {
//!       "name": "Fake H100", "uuid": "GPU-0", "total": 85899345920, "used": 9000000000,
//!       "compute": [{"pid": 4242, "used": 8589934592}, {"pid": 77}]
//!     }
//!   ]
//! }
//! ```
//!
//! A missing `used` of a device or a process is what NVIDIA calls "not available". `init_error`, and `memory_error` and
//! `process_error` of a device, are return codes of `nvml.h` that the calls in question then give (4: no permission,
//! 9: no driver, 15: the device is lost); `lost` gives the last for every call on a device.
//!
//! Names, layouts and codes follow NVIDIA's public `nvml.h`. Only what this project and usual Python tools call is here;
//! callers look symbols up one by one, so a missing one is to them an older driver.

mod abi;
mod device;
mod process;
mod state;
mod system;
