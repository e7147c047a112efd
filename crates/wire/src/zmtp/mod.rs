//! The part of ZMTP 3.0 that a server needs: frames, the NULL handshake, commands.
//!
//! Specification: <https://rfc.zeromq.org/spec/23/>

mod command;
mod frame;
mod handshake;
mod reader;

pub(crate) use command::{Command, pong};
#[cfg(test)]
pub(crate) use frame::COMMAND;
pub(crate) use frame::{Frame, FrameError, MORE, encode, put_header};
pub(crate) use handshake::{HandshakeError, accept, introduce};
pub(crate) use reader::FrameReader;
