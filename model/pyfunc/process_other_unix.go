//go:build unix && !linux

package pyfunc

import (
	"os/exec"
	"syscall"
)

// ownGroup gives a process a group of its own, out of reach of the terminal's
// signals. When this process ends, it ends with its standard input.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd has no way of waiting that leaves the process its id.
func awaitEnd(int) bool { return false }

// resident is not known here.
func resident(int) int64 { return 0 }
