package mlflow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// HashFolder returns a short hash of a folder's names and contents: the
// version of a model that no registry numbers. Links are refused, since what
// they lead to may change unseen.
func HashFolder(dir string) (string, error) {
	h := sha256.New()
	// WalkDir goes in lexical order, so the hash does not depend on the disk's.
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", path)
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return hashFile(h, filepath.ToSlash(rel), path)
	})
	if err != nil {
		return "", fmt.Errorf("hash folder: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// hashFile adds a file, its name and size first so that two files never read
// as one.
func hashFile(h hash.Hash, name, path string) error {
	f, err := os.Open(path) //nolint:gosec // walked from the folder that the user named
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(h, "%q %d\n", name, st.Size()); err != nil {
		return err
	}
	_, err = io.Copy(h, f)
	return err
}
