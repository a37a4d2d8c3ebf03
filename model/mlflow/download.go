package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// downloadAll brings all files into a snapshot, some at a time. The first error
// ends the others.
func (c *Client) downloadAll(ctx context.Context, src source, files []File, into *Filler, m *meter) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.cfg.Parallel))
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := into.Add(f, func(w *Writer) error { return c.download(ctx, src, f, w, m) })
			if err == nil {
				m.files.Add(1)
			}
			return err
		})
	}
	return g.Wait()
}

// errAgain marks a failure after which the same file may be had all the same.
var errAgain = errors.New("the transfer broke")

var errStalled = errors.New("no byte came for long")

// anew is how many bytes an attempt must bring for the failures before it to be
// forgotten: a large file on a bad line has many.
const anew = 1 << 20

// download copies a file to w. What breaks is resumed where the store can, and
// begun again where it cannot.
func (c *Client) download(ctx context.Context, src source, f File, w *Writer, m *meter) error {
	var etag string
	for failures := 0; ; {
		before := w.Len()
		err := c.attempt(ctx, src, f, w, m, &etag)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("download %s: %w", f.Path, context.Cause(ctx))
		}
		if w.Len()-before >= anew {
			failures = 0
		}
		if failures++; !errors.Is(err, errAgain) || failures > c.cfg.RetryMax {
			return fmt.Errorf("download %s: %w", f.Path, err)
		}
		if err := sleep(ctx, c.backoff(failures-1)); err != nil {
			return fmt.Errorf("download %s: %w", f.Path, err)
		}
	}
}

// backoff doubles with each attempt, and is jittered.
func (c *Client) backoff(attempt int) time.Duration {
	d := min(c.cfg.RetryBase<<min(attempt, 10), 30*time.Second)
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// attempt reads a file from where w is on. etag is that of the attempts before.
func (c *Client) attempt(ctx context.Context, src source, f File, w *Writer, m *meter, etag *string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.cfg.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	f.ETag = *etag
	body, err := src.Open(ctx, f, w.Len())
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			return fmt.Errorf("%w: %w", errAgain, errStalled)
		}
		return err
	}
	defer body.Close()
	if body.Offset != w.Len() || *etag != body.ETag {
		// It begins elsewhere, or its beginning was another content's.
		m.add(-w.Len())
		if err := w.Restart(); err != nil {
			return err
		}
		if *etag = body.ETag; body.Offset != 0 {
			return fmt.Errorf("%w: the content changed meanwhile", errAgain)
		}
	}
	if f.Size >= 0 && body.Size >= 0 && f.Size != body.Size {
		return fmt.Errorf("%w: its size is %d, not the listed %d", ErrArtifact, body.Size, f.Size)
	}
	in := &watched{Reader: body, read: func(n int) error {
		watch.Reset(c.cfg.Stall)
		return c.checkSize(m.add(int64(n)))
	}}
	want := max(f.Size, body.Size) // one of them may be unknown
	if _, err := io.Copy(w, in.atMost(want, w.Len())); err != nil {
		if in.err == nil {
			return err // writing failed
		}
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		if errors.Is(err, ErrTooLarge) {
			return err
		}
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return check(w, f, body, want, m)
}

// check holds what was written against what the store said of it.
func check(w *Writer, f File, body *Body, want int64, m *meter) error {
	if want >= 0 && w.Len() > want {
		return fmt.Errorf("%w: it is longer than the %d bytes that the store told", ErrArtifact, want)
	}
	if want >= 0 && w.Len() < want {
		return fmt.Errorf("%w: %w: it ended after %d of %d bytes", errAgain, ErrArtifact, w.Len(), want)
	}
	sum := f.MD5
	if sum == "" {
		sum = body.MD5
	}
	if sum == "" || sum == w.MD5() {
		return nil
	}
	got := w.MD5()
	m.add(-w.Len())
	if err := w.Restart(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w: its MD5 is %s, and the store says %s", errAgain, ErrArtifact, got, sum)
}

// watched tells of each read, and keeps the reader's error apart from a
// writer's.
type watched struct {
	io.Reader
	read func(n int) error
	err  error
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if told := r.read(n); told != nil {
		err = told
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// atMost bounds a body to one byte more than it should have.
func (r *watched) atMost(want, have int64) io.Reader {
	if want < 0 {
		return r
	}
	return io.LimitReader(r, want-have+1)
}
