package pyfunc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLeak replaces a process that holds too much, while it is asked without a
// pause, and no request fails.
func TestLeak(t *testing.T) {
	o, n := options(t, "model")
	o.MemoryLimit = 200 << 20
	m := start(t, o)
	require.Positive(t, m.Memory())
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				answers, err := tryAsk(t.Context(), m, "a", "b")
				if err != nil || strings.Join(answers, ";") != "ok: a of 2;ok: b of 2" {
					t.Errorf("%v: %v", answers, err)
					return
				}
			}
		})
	}
	require.Equal(t, []string{fmt.Sprintf("ok: leak %d of 1", 300<<20)}, ask(t, m, fmt.Sprintf("leak %d", 300<<20)))
	require.Equal(t, []Reason{OverLimit}, n.restarts(t, 1))
	close(stop)
	asking.Wait()
	require.Greater(t, n.most(), o.MemoryLimit)
	require.Equal(t, []string{"ok: a of 1"}, ask(t, m, "a"))
	require.Equal(t, []Reason{OverLimit}, n.restarts(t, 1))
	require.Less(t, m.pool.total(), o.MemoryLimit)
}

// TestGrandchildren end with the process that started them.
func TestGrandchildren(t *testing.T) {
	o, _ := options(t, "model")
	m := start(t, o)
	note := filepath.Join(t.TempDir(), "pid")
	ask(t, m, "child "+note)
	pid, err := os.ReadFile(note)
	require.NoError(t, err)
	state := func() string {
		text, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		if err != nil {
			return "gone"
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		return rest[:1]
	}
	require.NotContains(t, []string{"gone", "Z"}, state())
	require.NoError(t, m.Close())
	require.Eventually(t, func() bool { s := state(); return s == "gone" || s == "Z" }, 10*time.Second, 10*time.Millisecond) // its new parent reaps it
}
