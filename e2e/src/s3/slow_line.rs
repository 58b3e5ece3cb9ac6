//! A line to a server that is slow in one direction: what it answers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::Result;

/// So often in a second a piece is passed on.
const PIECES: usize = 20;

/// Ends when dropped; connections that are open do with their next piece.
pub struct SlowLine {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    bytes_per_second: Arc<AtomicUsize>,
}

/// As fast as it goes.
const FAST: usize = usize::MAX;

impl SlowLine {
    /// Each connection by itself brings so many bytes in a second.
    pub(super) fn to(server: &str, bytes_per_second: usize) -> Result<Self> {
        let (listener, server) = (TcpListener::bind("127.0.0.1:0")?, server.to_owned());
        let (address, is_over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let speed = Arc::new(AtomicUsize::new(bytes_per_second));
        let line = Self { address, is_over: is_over.clone(), bytes_per_second: speed.clone() };
        spawn(move || {
            for asking in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(asking), Ok(answering)) = (asking, TcpStream::connect(&server)) else { continue };
                let (Ok(question), Ok(answer)) = (asking.try_clone(), answering.try_clone()) else { continue };
                spawn(move || pass(question, answering, &AtomicUsize::new(FAST), &AtomicBool::new(false)));
                let (is_over, speed) = (is_over.clone(), speed.clone());
                spawn(move || pass(answer, asking, &speed, &is_over));
            }
        });
        Ok(line)
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it is as fast as any.
    pub fn speeds_up(&self) {
        self.bytes_per_second.store(FAST, Ordering::Relaxed);
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that it is noticed.
        TcpStream::connect(self.address).ok();
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, bytes_per_second: &AtomicUsize, is_over: &AtomicBool) {
    let mut piece = vec![0; (bytes_per_second.load(Ordering::Relaxed) / PIECES).clamp(1, 1 << 16)];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        let is_taken = piece.get(..read).is_some_and(|it| to.write_all(it).is_ok());
        if is_over.load(Ordering::Relaxed) || !is_taken {
            break;
        }
        let speed = bytes_per_second.load(Ordering::Relaxed);
        if speed < FAST {
            sleep(Duration::from_secs_f64(read as f64 / speed as f64));
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
