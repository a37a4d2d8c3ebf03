package main

import (
	"bufio"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// tuneMemory lets the garbage grow to four times what lives before it is
// collected, which was measured to halve the CPU of consuming and producing,
// below a limit at which it is collected in any case. What the operator has
// said in GOGC or GOMEMLIMIT stands.
func (p *program) tuneMemory(log *slog.Logger) {
	percent, limit, from := gcPlan(os.DirFS("/"))
	if p.env["GOGC"] == "" {
		debug.SetGCPercent(percent)
	}
	if p.env["GOMEMLIMIT"] == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	current := debug.SetGCPercent(-1) // the only way to ask
	debug.SetGCPercent(current)
	log.Info("garbage collection", "gogc", current, "gomemlimit", debug.SetMemoryLimit(-1), "limit_from", from)
}

// gcPlan takes three quarters of the cgroup's memory for Go: the models and
// their runtime live beside it. Without a cgroup's limit it is half of the
// machine's memory, and where that is not told either, no limit but a tighter
// pace.
func gcPlan(root fs.FS) (percent int, limit int64, from string) {
	if n := cgroupLimit(root); n > 0 {
		return 400, n / 4 * 3, "cgroup"
	}
	if n := machineMemory(root); n > 0 {
		return 400, n / 2, "machine"
	}
	return 200, 0, "none"
}

// cgroupLimit is the least memory limit of this process's cgroups, 0 without
// one. See cgroups(7): version 2 has one hierarchy, version 1 one for memory.
func cgroupLimit(root fs.FS) int64 {
	var limit int64
	take := func(name string) {
		if n := readNumber(root, name); n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	for line := range lines(root, "proc/self/cgroup") {
		parts := strings.SplitN(line, ":", 3) // hierarchy, controllers, path
		if len(parts) != 3 {
			continue
		}
		var base, file string
		switch {
		case parts[0] == "0" && parts[1] == "":
			base, file = "sys/fs/cgroup", "memory.max"
		case parts[1] == "memory":
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// A limit of a parent holds too. Inside a container the path may be
		// the host's: the root is the container's own then.
		for dir := path.Join("/", parts[2]); ; dir = path.Dir(dir) {
			take(path.Join(base, dir, file))
			if dir == "/" {
				break
			}
		}
	}
	return limit
}

func machineMemory(root fs.FS) int64 {
	for line := range lines(root, "proc/meminfo") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(f[1], 10, 64) // 0 is not known
			return n << 10
		}
	}
	return 0
}

// readNumber returns 0 for what is no limit: "max", or version 1's largest
// number of pages.
func readNumber(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n > math.MaxInt64/2 {
		return 0
	}
	return n
}

func lines(root fs.FS, name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		f, err := root.Open(name)
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		for s := bufio.NewScanner(f); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}
