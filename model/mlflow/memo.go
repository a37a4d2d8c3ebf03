package mlflow

import (
	"sync"
	"time"
)

// Scope tells what references are relative to: the tracking server, without
// credentials, and the workspace.
func (c *Client) Scope() []string {
	if c.base == nil {
		return []string{"", c.cfg.Workspace}
	}
	return []string{c.base.String(), c.cfg.Workspace}
}

// memo keeps what versions resolved to, so that asking again what an alias names
// takes one request while it names the same. One that was deleted and made again
// has another time of creation.
type memo struct {
	mu    sync.Mutex
	known map[ModelVersion]remembered // guarded by mu
}

type remembered struct {
	Resolved
	until time.Time
}

// The bounds of what is remembered: so many versions, for so long, since
// somebody may move the artifacts.
const (
	maxMemo   = 256
	memoHolds = 10 * time.Minute
)

func (m *memo) get(v *ModelVersion) (Resolved, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[memoKey(v)]
	return r.Resolved, ok && time.Now().Before(r.until)
}

func (m *memo) put(v *ModelVersion, r Resolved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxMemo {
		m.known = make(map[ModelVersion]remembered)
	}
	m.known[memoKey(v)] = remembered{r, time.Now().Add(memoHolds)}
}

// memoKey leaves out what changes without the version being another.
func memoKey(v *ModelVersion) ModelVersion {
	k := *v
	k.Stage, k.Status, k.StatusMessage = "", "", ""
	return k
}
