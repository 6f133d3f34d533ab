// The parts of Argo CD that keep a cluster as its manifests say: the application controller, the
// repo server, and a Redis to cache in. Argo CD's own program has them as well, with its API server,
// its user interface and its command line, which take most of the time of a build.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

// redis serves on the address until it is told to end.
func redis(address string) error {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(address); err != nil {
		return err
	}
	defer server.Close()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	return nil
}

func run(part string, arguments []string) error {
	switch part {
	case "redis":
		return redis(arguments[0])
	case "application-controller", "repo-server":
		command := controller.NewCommand()
		if part == "repo-server" {
			command = reposerver.NewCommand()
		}
		command.SetArgs(arguments)
		return command.Execute()
	}
	return fmt.Errorf("no such part: %s", part)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: argocd application-controller|repo-server|redis ARGUMENT…")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
