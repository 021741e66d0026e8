import { useEffect, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { t, type Text } from "../i18n";
import type { Problem } from "../scan";
import { Icon } from "./icons";

/** What went wrong and what can be done, in one place for every page. */
export function ProblemCard({ problem, again, children }: { problem: Problem; again?: () => void; children?: ComponentChildren }) {
  const wait = useWait(problem.wait ?? 0, problem);
  return (
    <section class={`card problem problem-${problem.kind}`} role="alert">
      <h2><Icon name="warn" /> {t(`error.${problem.kind}` as Text)}</h2>
      <p>{problem.kind === "other" && problem.detail ? problem.detail : t(`error.${problem.kind}.more` as Text)}</p>
      <div class="actions">
        {again && (
          <button type="button" class="primary" disabled={wait > 0} onClick={again}>
            {wait > 0 ? t("seconds", wait) : problem.kind === "session" ? t("error.session.go") : t("again")}
          </button>
        )}
        {children}
      </div>
    </section>
  );
}

/** Seconds that are left, counting down. */
function useWait(seconds: number, of: unknown): number {
  const [left, setLeft] = useState(seconds);
  useEffect(() => {
    setLeft(seconds);
    const timer = setInterval(() => setLeft((now) => Math.max(0, now - 1)), 1000);
    return () => clearInterval(timer);
  }, [of]);
  return left;
}
