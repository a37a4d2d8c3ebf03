package mlflow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Remembered is what a reference named when the registry last said so.
type Remembered struct {
	Resolved Resolved  `json:"resolved"`
	At       time.Time `json:"at"`
}

// Remember keeps what a reference names, for a start without the registry. It
// is called when that version is in the cache and has proved to load.
func (c *Client) Remember(cache *Cache, r Resolved) error {
	return cache.remember(c.server(), r)
}

// Recall gives what a reference named last, when that is still in the cache.
// Fetch verifies it, as always.
func (c *Client) Recall(cache *Cache, ref Ref) (Remembered, bool) {
	return cache.recall(c.server(), ref)
}

// server names the registry that a reference is of.
func (c *Client) server() string {
	if c.base == nil {
		return ""
	}
	return c.base.String() + " " + c.cfg.Workspace
}

func (c *Cache) remember(server string, r Resolved) error {
	text, err := json.Marshal(Remembered{r, time.Now().UTC()})
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Join(c.dir, "tmp"), "ref-")
	if err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	defer os.RemoveAll(tmp) // what stays is swept later
	file := filepath.Join(tmp, "ref.json")
	if err := writeSynced(file, text); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	if err := os.Rename(file, c.refFile(server, r.Ref)); err != nil {
		return fmt.Errorf("model cache: %w", err)
	}
	return nil
}

func (c *Cache) recall(server string, ref Ref) (Remembered, bool) {
	var r Remembered
	text, err := os.ReadFile(c.refFile(server, ref))
	if err != nil || json.Unmarshal(text, &r) != nil || r.Resolved.Ref != ref || r.Resolved.Identity == "" {
		return Remembered{}, false
	}
	_, err = os.Stat(filepath.Join(c.dir, "snapshots", r.Resolved.Identity, "manifest.json"))
	return r, err == nil
}

// refFile is where a reference is remembered. The same one names something else
// at another server.
func (c *Cache) refFile(server string, ref Ref) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q %q", server, ref)))
	return filepath.Join(c.dir, "refs", hex.EncodeToString(sum[:16])+".json")
}
