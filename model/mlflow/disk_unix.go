//go:build linux || darwin

package mlflow

import (
	"math"
	"os"
	"syscall"
)

// freeSpace is how many bytes a folder's disk has left for this process. known
// is false when the system does not tell.
func freeSpace(dir string) (n int64, known bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0, false
	}
	blocks, size := st.Bavail, uint64(st.Bsize) //nolint:gosec // a block's size is positive
	if size == 0 || blocks > math.MaxInt64/size {
		return 0, false
	}
	return int64(blocks * size), true //nolint:gosec // bounded above
}

// identify tells a content from others, and by how many names it has.
func identify(info os.FileInfo) (id any, links uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, 0
	}
	return [2]uint64{uint64(st.Dev), st.Ino}, uint64(st.Nlink) //nolint:unconvert // their types differ by system
}
