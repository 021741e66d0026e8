import { t, type Text } from "../i18n";
import { LIVE, type Stage } from "../scan";
import { Icon } from "./icons";

/** Where a scan stands. The line that is read aloud changes with the stage only. */
export function Stages({ at, reconnecting }: { at: Stage; reconnecting?: boolean }) {
  const place = at === "reward" ? LIVE.length : at === "queued" ? 1 : Math.max(0, LIVE.indexOf(at));
  return (
    <div class="stages">
      <p class="now" role="status">{reconnecting ? t("scan.reconnecting") : t(`scan.${at}` as Text)}</p>
      <ol aria-label={t("scan.stages")}>
        {LIVE.map((stage, n) => (
          <li key={stage} class={n < place ? "done" : n === place ? "now" : ""} aria-current={n === place ? "step" : undefined}>
            {n < place ? <Icon name="check" /> : <span class="dot" />}
            <span>{t(`scan.${stage}` as Text)}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}
