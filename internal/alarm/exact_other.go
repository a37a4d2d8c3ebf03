//go:build !linux

package alarm

func exact(func()) *Alarm { return nil }
