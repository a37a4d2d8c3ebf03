package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerfileBuildsAsTheMakefile(t *testing.T) {
	dockerfile, makefile := readRepo(t, "Dockerfile"), readRepo(t, "Makefile")
	golang := submatch(t, `^go (\S+)$`, readRepo(t, "go.mod"))
	for _, text := range []string{dockerfile, readRepo(t, "compose", "mlflow", "Dockerfile")} {
		for _, from := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(text, -1) {
			require.Contains(t, []string{"golang:" + golang + "-trixie", "python:3.13-slim-trixie", "scratch"}, from[1])
		}
	}
	require.Contains(t, dockerfile, "go build -trimpath -tags "+submatch(t, `^TAGS := (.+)$`, makefile)+" ")
	flags := strings.ReplaceAll(submatch(t, `^LDFLAGS := (.+)$`, makefile), "$(VERSION)", "$VERSION")
	require.Contains(t, dockerfile, `-ldflags "`+flags+` `)
	require.Contains(t, makefile, "go build -trimpath -tags '$(TAGS)'")
}

// A file that the binary embeds has to reach the image's build.
func TestDockerignoreLeavesWhatIsEmbedded(t *testing.T) {
	ignored := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(readRepo(t, ".dockerignore"), ""))
	embedded := 0
	require.NoError(t, filepath.WalkDir(filepath.Join("..", ".."), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, embed := range regexp.MustCompile(`(?m)^//go:embed (.+)$`).FindAllStringSubmatch(string(text), -1) {
			for pattern := range strings.FieldsSeq(embed[1]) {
				full, err := filepath.Rel(filepath.Join("..", ".."), filepath.Join(filepath.Dir(path), pattern))
				require.NoError(t, err)
				embedded++
				for _, rule := range ignored {
					base, anywhere := strings.CutPrefix(rule, "**/")
					hit, _ := filepath.Match(base, filepath.Base(full))
					require.False(t, anywhere && hit || strings.HasPrefix("/"+full, rule+"/"), "%s hides %s", rule, full)
				}
			}
		}
		return nil
	}))
	require.Positive(t, embedded)
}
