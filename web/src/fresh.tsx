// Parts of the page that are loaded when they are shown. A tab that was opened before a release asks for files that
// are no more: the page is loaded anew, once.
import { t } from "./i18n";
import { reach, reached } from "./reach";
import { Main } from "./ui/layout";
import { ProblemCard } from "./ui/problem";

const TRIED = "eco2.reloaded";

/** `load`, with a page that says what is wrong in place of one that cannot be had. */
export function fresh<T>(load: () => Promise<T>): () => Promise<T | typeof Stale> {
  return async () => {
    try {
      const page = await load();
      note(null);
      return page;
    } catch {
      const answer = await reach("/api/v1/health").catch(() => null);
      // Without a connection a reload would lose what is shown.
      if (!answer || !note("1")) return Stale;
      location.reload();
      return new Promise<never>(() => undefined);
    }
  };
}

/** False where the page was reloaded already, or the browser cannot remember that it was. */
function note(tried: string | null): boolean {
  try {
    if (tried === null) sessionStorage.removeItem(TRIED);
    else if (sessionStorage.getItem(TRIED)) return false;
    else sessionStorage.setItem(TRIED, tried);
    return true;
  } catch {
    return false;
  }
}

function Stale() {
  return (
    <Main title={t("error.other")} hide>
      <ProblemCard problem={{ kind: reached.value ? "other" : "offline" }} again={() => location.reload()} />
    </Main>
  );
}
