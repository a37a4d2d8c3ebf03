package mlflow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Progress says how far a transfer of files is.
type Progress struct {
	Bytes, TotalBytes int64 // the total holds only the sizes that are known
	Files, TotalFiles int
	Rate              float64 // bytes a second since the time before
}

// meter counts a transfer and tells of it now and then.
type meter struct {
	c        *Client
	what     string
	model    string
	progress func(Progress) // may be nil

	total int64
	all   int
	bytes atomic.Int64
	files atomic.Int64
}

func (c *Client) newMeter(what, model string, total int64, files int, progress func(Progress)) *meter {
	return &meter{c: c, what: what, model: model, total: total, all: files, progress: progress}
}

// add counts bytes, and returns all so far.
func (m *meter) add(n int64) int64 { return m.bytes.Add(n) }

// start begins to tell; stop ends it, with a last word to the progress.
func (m *meter) start() (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	begun := time.Now()
	wg.Go(func() {
		tick := time.NewTicker(m.c.cfg.ProgressEvery)
		defer tick.Stop()
		var last int64
		since := begun
		for {
			select {
			case <-done:
				if m.progress != nil {
					m.progress(m.at(m.bytes.Load(), 0, begun))
				}
				return
			case now := <-tick.C:
				p := m.at(m.bytes.Load(), last, since)
				last, since = p.Bytes, now
				m.tell(p)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (m *meter) at(n, last int64, since time.Time) Progress {
	p := Progress{Bytes: n, TotalBytes: m.total, Files: int(m.files.Load()), TotalFiles: m.all}
	if s := time.Since(since).Seconds(); s > 0 {
		p.Rate = float64(n-last) / s
	}
	return p
}

func (m *meter) tell(p Progress) {
	if m.progress != nil {
		m.progress(p)
		return
	}
	m.c.log.Info("a model's files are on their way", "model", m.model, "so_far", m.what, "bytes", p.Bytes, "total_bytes", p.TotalBytes,
		"files", p.Files, "total_files", p.TotalFiles, "bytes_per_second", int64(p.Rate))
}
