package main

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// letNobodyIn makes the kernel overlook who knocks from now on (TCP's SYN),
// and keeps those who are in. They try again after a second, and are let in by
// the next Perch, or refused and sent elsewhere by their proxy. To close the
// listener by itself cuts off who was let in and not accepted yet, and what
// they have asked for is lost.
func letNobodyIn(listener net.Listener) error {
	door, ok := listener.(syscall.Conn)
	if !ok {
		return syscall.EINVAL
	}
	raw, err := door.SyscallConn()
	if err != nil {
		return err
	}
	// A socket's filter sees a packet from TCP's header on, whose byte 13 holds
	// the flags (RFC 9293 §3.1); it returns how many bytes to keep.
	const flags, syn, nothing, everything = 13, 0x02, 0, 0xffffffff
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: nothing},
		{Code: unix.BPF_RET | unix.BPF_K, K: everything},
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	return errors.Join(err, refused)
}
