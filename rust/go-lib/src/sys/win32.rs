//! The Windows calls and structures that the backends use, under their names in Windows' headers.

#![allow(
    non_camel_case_types,
    non_snake_case,
    clippy::upper_case_acronyms,
    reason = "the headers'"
)]

use std::ffi::c_void;

pub(crate) type HANDLE = *mut c_void;
pub(crate) type SOCKET = u64;
pub(crate) type ThreadStart = unsafe extern "system" fn(*mut c_void) -> u32;

pub(crate) const INFINITE: u32 = u32::MAX;
pub(crate) const ERROR_NOT_ENOUGH_MEMORY: i32 = 8;
pub(crate) const WSAEWOULDBLOCK: i32 = 10035;

pub(crate) const MEM_COMMIT: u32 = 0x1000;
pub(crate) const MEM_RESERVE: u32 = 0x2000;
pub(crate) const MEM_DECOMMIT: u32 = 0x4000;
pub(crate) const MEM_RELEASE: u32 = 0x8000;
pub(crate) const PAGE_READWRITE: u32 = 4;
pub(crate) const PAGE_GUARD: u32 = 0x100;

/// Reserves a new thread's stack with the given size instead of committing it.
pub(crate) const STACK_SIZE_PARAM_IS_A_RESERVATION: u32 = 0x10000;
pub(crate) const TH32CS_SNAPTHREAD: u32 = 4;
pub(crate) const TLS_OUT_OF_INDEXES: u32 = u32::MAX;

pub(crate) const EXCEPTION_CONTINUE_SEARCH: i32 = 0;
pub(crate) const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
pub(crate) const STATUS_STACK_OVERFLOW: u32 = 0xc000_00fd;

pub(crate) const AF_INET: i32 = 2;
pub(crate) const AF_INET6: i32 = 23;
pub(crate) const SOCK_STREAM: i32 = 1;
pub(crate) const IPPROTO_TCP: i32 = 6;
pub(crate) const FIONBIO: i32 = 0x8004_667e_u32 as i32;
pub(crate) const SIO_BASE_HANDLE: u32 = 0x4800_0022;
pub(crate) const WSA_FLAG_OVERLAPPED: u32 = 1;
pub(crate) const WSA_FLAG_NO_HANDLE_INHERIT: u32 = 0x80;
pub(crate) const HANDLE_FLAG_INHERIT: u32 = 1;

pub(crate) const IOCTL_AFD_POLL: u32 = 0x0001_2024;
pub(crate) const AFD_POLL_RECEIVE: u32 = 1;
pub(crate) const AFD_POLL_SEND: u32 = 4;
pub(crate) const AFD_POLL_DISCONNECT: u32 = 8;
pub(crate) const AFD_POLL_ABORT: u32 = 0x10;
pub(crate) const AFD_POLL_LOCAL_CLOSE: u32 = 0x20;
pub(crate) const AFD_POLL_ACCEPT: u32 = 0x80;
pub(crate) const AFD_POLL_CONNECT_FAIL: u32 = 0x100;
pub(crate) const SYNCHRONIZE: u32 = 0x0010_0000;
pub(crate) const FILE_SHARE_READ_WRITE: u32 = 3;
pub(crate) const FILE_OPEN: u32 = 1;

#[repr(C)]
pub(crate) struct EXCEPTION_RECORD {
    pub(crate) code: u32,
    pub(crate) flags: u32,
    pub(crate) next: *mut EXCEPTION_RECORD,
    pub(crate) address: *mut c_void,
    pub(crate) parameters: u32,
    /// For a fault: the kind of access, and the address.
    pub(crate) information: [usize; 15],
}

#[repr(C)]
pub(crate) struct EXCEPTION_POINTERS {
    pub(crate) record: *mut EXCEPTION_RECORD,
    pub(crate) context: *mut c_void,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct THREADENTRY32 {
    pub(crate) size: u32,
    pub(crate) usage: u32,
    pub(crate) thread: u32,
    pub(crate) process: u32,
    pub(crate) priority: [i32; 2],
    pub(crate) flags: u32,
}

#[cfg(test)]
#[repr(C)]
#[derive(Default)]
pub(crate) struct MEMORY_BASIC_INFORMATION {
    pub(crate) base: usize,
    pub(crate) allocation_base: usize,
    pub(crate) allocation_protect: u32,
    pub(crate) partition: u16,
    pub(crate) region: usize,
    pub(crate) state: u32,
    pub(crate) protect: u32,
    pub(crate) kind: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OVERLAPPED_ENTRY {
    pub(crate) key: usize,
    pub(crate) overlapped: *mut c_void,
    pub(crate) internal: usize,
    pub(crate) bytes: u32,
}

#[repr(C)]
pub(crate) struct IO_STATUS_BLOCK {
    pub(crate) status: usize,
    pub(crate) information: usize,
}

#[repr(C)]
pub(crate) struct UNICODE_STRING {
    pub(crate) bytes: u16,
    pub(crate) room: u16,
    pub(crate) text: *const u16,
}

#[repr(C)]
pub(crate) struct OBJECT_ATTRIBUTES {
    pub(crate) size: u32,
    pub(crate) root: HANDLE,
    pub(crate) name: *const UNICODE_STRING,
    pub(crate) attributes: u32,
    pub(crate) security: *const c_void,
    pub(crate) quality: *const c_void,
}

/// The structure for one handle.
#[repr(C)]
pub(crate) struct AFD_POLL_INFO {
    pub(crate) timeout: i64,
    pub(crate) handles: u32,
    pub(crate) exclusive: u32,
    pub(crate) handle: HANDLE,
    pub(crate) events: u32,
    pub(crate) status: i32,
}

#[repr(C)]
pub(crate) struct SOCKADDR_IN {
    pub(crate) family: u16,
    /// This field and the address are in network byte order.
    pub(crate) port: u16,
    pub(crate) address: [u8; 4],
    pub(crate) zero: [u8; 8],
}

#[repr(C)]
pub(crate) struct SOCKADDR_IN6 {
    pub(crate) family: u16,
    pub(crate) port: u16,
    pub(crate) flow: u32,
    pub(crate) address: [u8; 16],
    pub(crate) scope: u32,
}

#[link(name = "kernel32")]
unsafe extern "system" {
    pub(crate) fn AddVectoredExceptionHandler(
        first: u32,
        f: unsafe extern "system" fn(*mut EXCEPTION_POINTERS) -> i32,
    ) -> *mut c_void;
    pub(crate) fn CloseHandle(handle: HANDLE) -> i32;
    pub(crate) fn CreateIoCompletionPort(
        file: HANDLE,
        port: HANDLE,
        key: usize,
        threads: u32,
    ) -> HANDLE;
    pub(crate) fn CreateThread(
        security: *const c_void,
        stack: usize,
        f: ThreadStart,
        arg: *mut c_void,
        flags: u32,
        id: *mut u32,
    ) -> HANDLE;
    pub(crate) fn CreateToolhelp32Snapshot(flags: u32, process: u32) -> HANDLE;
    pub(crate) fn FlushProcessWriteBuffers();
    pub(crate) fn GetCurrentProcess() -> HANDLE;
    pub(crate) fn GetCurrentProcessId() -> u32;
    pub(crate) fn GetCurrentThreadId() -> u32;
    pub(crate) fn GetQueuedCompletionStatusEx(
        port: HANDLE,
        entries: *mut OVERLAPPED_ENTRY,
        room: u32,
        count: *mut u32,
        ms: u32,
        alertable: i32,
    ) -> i32;
    pub(crate) fn PostQueuedCompletionStatus(
        port: HANDLE,
        bytes: u32,
        key: usize,
        overlapped: *mut c_void,
    ) -> i32;
    pub(crate) fn QueryPerformanceCounter(ticks: *mut i64) -> i32;
    pub(crate) fn QueryPerformanceFrequency(ticks: *mut i64) -> i32;
    pub(crate) fn SetHandleInformation(handle: HANDLE, mask: u32, flags: u32) -> i32;
    pub(crate) fn SetThreadStackGuarantee(bytes: *mut u32) -> i32;
    pub(crate) fn TerminateProcess(process: HANDLE, status: u32) -> i32;
    pub(crate) fn Thread32First(snapshot: HANDLE, entry: *mut THREADENTRY32) -> i32;
    pub(crate) fn Thread32Next(snapshot: HANDLE, entry: *mut THREADENTRY32) -> i32;
    pub(crate) fn TlsAlloc() -> u32;
    pub(crate) fn TlsGetValue(index: u32) -> *mut c_void;
    pub(crate) fn TlsSetValue(index: u32, value: *mut c_void) -> i32;
    pub(crate) fn VirtualAlloc(
        at: *mut c_void,
        bytes: usize,
        kind: u32,
        rights: u32,
    ) -> *mut c_void;
    pub(crate) fn VirtualFree(at: *mut c_void, bytes: usize, kind: u32) -> i32;
    #[cfg(test)]
    pub(crate) fn VirtualQuery(
        at: *const c_void,
        out: *mut MEMORY_BASIC_INFORMATION,
        size: usize,
    ) -> usize;
    pub(crate) fn VirtualProtect(
        at: *mut c_void,
        bytes: usize,
        rights: u32,
        former: *mut u32,
    ) -> i32;
}

#[link(name = "synchronization")]
unsafe extern "system" {
    pub(crate) fn WaitOnAddress(
        at: *const c_void,
        expected: *const c_void,
        bytes: usize,
        ms: u32,
    ) -> i32;
    pub(crate) fn WakeByAddressAll(at: *const c_void);
    pub(crate) fn WakeByAddressSingle(at: *const c_void);
}

#[link(name = "winmm")]
unsafe extern "system" {
    pub(crate) fn timeBeginPeriod(ms: u32) -> u32;
}

#[link(name = "ws2_32")]
unsafe extern "system" {
    pub(crate) fn WSAStartup(version: u16, data: *mut c_void) -> i32;
    pub(crate) fn WSASocketW(
        family: i32,
        kind: i32,
        protocol: i32,
        info: *const c_void,
        group: u32,
        flags: u32,
    ) -> SOCKET;
    pub(crate) fn WSAIoctl(
        socket: SOCKET,
        code: u32,
        input: *const c_void,
        input_bytes: u32,
        output: *mut c_void,
        output_bytes: u32,
        got: *mut u32,
        overlapped: *mut c_void,
        f: *const c_void,
    ) -> i32;
    pub(crate) fn accept(socket: SOCKET, addr: *mut c_void, len: *mut i32) -> SOCKET;
    pub(crate) fn connect(socket: SOCKET, addr: *const c_void, len: i32) -> i32;
    pub(crate) fn ioctlsocket(socket: SOCKET, code: i32, arg: *mut u32) -> i32;
    pub(crate) fn listen(socket: SOCKET, backlog: i32) -> i32;
}

#[link(name = "ntdll")]
unsafe extern "system" {
    pub(crate) fn NtCancelIoFileEx(
        file: HANDLE,
        request: *mut IO_STATUS_BLOCK,
        status: *mut IO_STATUS_BLOCK,
    ) -> i32;
    pub(crate) fn NtCreateFile(
        file: *mut HANDLE,
        access: u32,
        attributes: *const OBJECT_ATTRIBUTES,
        status: *mut IO_STATUS_BLOCK,
        size: *const i64,
        file_attributes: u32,
        share: u32,
        disposition: u32,
        options: u32,
        extended: *const c_void,
        extended_bytes: u32,
    ) -> i32;
    pub(crate) fn NtDeviceIoControlFile(
        file: HANDLE,
        event: HANDLE,
        apc: *const c_void,
        context: *mut c_void,
        status: *mut IO_STATUS_BLOCK,
        code: u32,
        input: *const c_void,
        input_bytes: u32,
        output: *mut c_void,
        output_bytes: u32,
    ) -> i32;
}
