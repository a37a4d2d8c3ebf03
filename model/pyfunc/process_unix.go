//go:build unix

package pyfunc

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// socketPair returns a connection, and its other end for a process.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock() // a process started meanwhile would inherit both
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "model process")
	theirs := os.NewFile(uintptr(fds[1]), "millrace worker")
	defer ours.Close() // FileConn has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// killGroup ends a process and what it has started. Its id has to be taken
// still: it has not been reaped.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
