package pyfunc

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzFrame reads what may be on the socket: no more memory than came, no part
// that is not there.
func FuzzFrame(f *testing.F) {
	for _, r := range []reply{{End: true}, {Rows: []int{1}, Status: []string{"ok"}, Sizes: []int{2}}, {Failed: "x", Sizes: []int{1, 1}}} {
		var b bytes.Buffer
		require.NoError(f, writeFrame(&b, r, []string{"ab"}))
		f.Add(b.Bytes())
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, parts, err := readFrame(bytes.NewReader(data))
		if err != nil {
			require.Nil(t, rep)
			return
		}
		require.Len(t, parts, len(rep.Sizes))
		total := 0
		for i, p := range parts {
			require.Len(t, p, rep.Sizes[i])
			total += len(p)
		}
		require.LessOrEqual(t, total, len(data))
	})
}
