package load

import (
	"io/fs"
	"os"

	"github.com/millrace/millrace/model"
)

// perModel is what a session takes beside its weights, and the buffers of its
// calls: measured, it is 0.2 MB for a small model and up to 8 MB for one whose
// calls are large.
const perModel = 8 << 20

// memoryOf estimates what a model takes: what its runtime says, if that knows,
// else by the size of its files, which hold the weights as the memory does
// (measured: 1.0 to 1.1 times the file of 64 MB).
func memoryOf(folder string, m model.Model) int64 {
	if own, ok := m.(interface{ Memory() int64 }); ok && own.Memory() > 0 {
		return own.Memory()
	}
	var size int64
	_ = fs.WalkDir(os.DirFS(folder), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read takes no memory
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size + size/8 + perModel
}
