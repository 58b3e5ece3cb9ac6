//! A line to a server that is slow in one direction, what it answers, and that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::Result;

/// So often in a second a piece is passed on.
const PIECES: usize = 20;

/// Ends when dropped, with all connections.
pub struct SlowLine {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    is_over: AtomicBool,
    is_cut: AtomicBool,
    bytes_per_second: AtomicUsize,
    /// Connections, perhaps of those that have ended.
    open: Mutex<Vec<TcpStream>>,
}

/// As fast as it goes.
pub(super) const FAST: usize = usize::MAX;

impl SlowLine {
    /// Each connection by itself brings so many bytes in a second.
    pub(super) fn to(server: &str, bytes_per_second: usize) -> Result<Self> {
        let (listener, server) = (TcpListener::bind("127.0.0.1:0")?, server.to_owned());
        let state = Arc::new(State {
            is_over: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            bytes_per_second: AtomicUsize::new(bytes_per_second),
            open: Mutex::default(),
        });
        let line = Self { address: listener.local_addr()?, state: state.clone() };
        spawn(move || {
            for asking in listener.incoming() {
                if state.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(asking) = asking else { continue };
                // Who is not answered closes.
                connect(asking, &server, &state).ok();
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
        self.state.bytes_per_second.store(FAST, Ordering::Relaxed);
    }

    /// Connections break, and new ones do not come about, until it is mended.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.close();
    }

    /// It is as it was before it was cut.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.state.close();
        // So that it is noticed.
        TcpStream::connect(self.address).ok();
    }
}

impl State {
    fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.iter().for_each(|it| drop(it.shutdown(Shutdown::Both)));
    }
}

fn connect(asking: TcpStream, server: &str, state: &Arc<State>) -> std::io::Result<()> {
    let answering = TcpStream::connect(server)?;
    let (question, answer) = (asking.try_clone()?, answering.try_clone()?);
    let mut open = state.open.lock().unwrap_or_else(PoisonError::into_inner);
    if state.is_cut.load(Ordering::SeqCst) || state.is_over.load(Ordering::SeqCst) {
        return Ok(());
    }
    open.extend([asking.try_clone()?, answering.try_clone()?]);
    spawn(move || pass(question, answering, &AtomicUsize::new(FAST)));
    let state = state.clone();
    spawn(move || pass(answer, asking, &state.bytes_per_second));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, bytes_per_second: &AtomicUsize) {
    let mut piece = vec![0; (bytes_per_second.load(Ordering::Relaxed) / PIECES).clamp(1, 1 << 16)];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if piece.get(..read).is_none_or(|it| to.write_all(it).is_err()) {
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
