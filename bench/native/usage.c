// SPDX-License-Identifier: MIT
/*
 * Runs a command and says what it and all its descendants have cost: what /proc can no longer tell
 * once a process has ended.
 *
 * Usage: usage COMMAND [ARGUMENT...]. When the last descendant has ended, prints one JSON object:
 * cpuSeconds (user and system, of all), peakBytes (the resident set of the largest single process).
 * Exits as the command did. The command has no stdout of ours: only the JSON object stands there.
 *
 * Descendants whose parent has ended become children of this process, so none is missed. SIGTERM
 * ends the command and not this process, which still has to speak.
 * ru_maxrss counts what a process held before its exec, too; this program is small, so that is less
 * than any command holds. Pages that a process shares with others count fully for each.
 * Source: getrusage(2), wait(2), prctl(2) PR_SET_CHILD_SUBREAPER.
 */
#define _GNU_SOURCE
#include "clock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIBIBYTE 1024ull

static double seconds_of(struct timeval time) {
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void become(char **command) {
	signal(SIGTERM, SIG_DFL);
	int nothing = open("/dev/null", O_WRONLY);
	if (nothing < 0 || dup2(nothing, STDOUT_FILENO) < 0) die("/dev/null");
	close(nothing);
	execvp(command[0], command);
	die(command[0]);
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: usage COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) die("prctl");
	signal(SIGTERM, SIG_IGN);
	pid_t command = fork();
	if (command < 0) die("fork");
	if (command == 0) become(argv + 1);
	int status = 0, code = 1;
	for (pid_t ended; (ended = wait(&status)) > 0 || errno == EINTR;) {
		if (ended != command) continue;
		code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	struct rusage used;
	if (getrusage(RUSAGE_CHILDREN, &used) != 0) die("getrusage");
	printf("{\"cpuSeconds\":%.3f,\"peakBytes\":%llu}\n",
		seconds_of(used.ru_utime) + seconds_of(used.ru_stime),
		(unsigned long long)used.ru_maxrss * KIBIBYTE);
	return code;
}
